//! The booted machine's side: enrol, fetch the sequence, run it, report until someone heard.
