//! XML task sequences: typed model, parser, schema, interpreter with a command registry.
