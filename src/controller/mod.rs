//! HTTPS service for devices: tokens, certificates, jobs. Never runs without mutual authentication.
