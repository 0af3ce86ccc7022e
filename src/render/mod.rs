//! How it is said: graph and templates become artifacts. The only module that names handlebars.
