"""What clients send, typed. Fields that Treadle does not know are ignored, as the protocol has it."""
