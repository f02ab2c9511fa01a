"""How covariances are stored, constrained, estimated and counted."""
