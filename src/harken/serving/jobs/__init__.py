"""Jobs of many files: taken over HTTP, transcribed beside the requests, told by webhooks."""
