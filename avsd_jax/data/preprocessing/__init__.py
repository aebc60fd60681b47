"""From decoded frames and waveforms to network inputs."""
