"""WebSockets of the server: its own protocol, Deepgram's, OpenAI's realtime transcription, and vosk's."""
