"""E-steps and M-steps, and the contract between them and the loop."""
