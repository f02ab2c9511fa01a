"""From data to an answer: restarts, criteria, selection and classification."""
