"""What Treadle tells about itself: traces (OpenTelemetry), metrics (Prometheus) and structured logs."""
