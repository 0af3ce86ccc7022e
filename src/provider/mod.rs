//! Providers as data: limits, settings, required tools, which template makes which artifact.
