"""NATS JetStream: subjects, wake-ups, and the stream and consumers that carry them."""
