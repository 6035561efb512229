"""Parts of methods: models, likelihoods, closed forms, shared plugins."""
