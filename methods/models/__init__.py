"""What methods are made of: models, likelihoods, closed forms, shared plugins."""
