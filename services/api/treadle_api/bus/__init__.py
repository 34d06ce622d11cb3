"""The API over NATS: the service `treadle` of the NATS micro-service framework, for services inside the house."""
