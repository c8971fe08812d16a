"""Live streams: audio as it comes, heard by the served models, fairly and within bounds."""
