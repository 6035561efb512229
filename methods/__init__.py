"""The methods, one file each. A file added here that registers a method is on the leaderboard: nothing else to edit."""
