"""The EM loop: driver, stopping rule, acceleration and continuous batching."""
