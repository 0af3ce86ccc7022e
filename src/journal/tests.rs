//! The journal as a whole: what is acknowledged is there, and damage is seen.
