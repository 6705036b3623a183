//! The tests of what only shows from outside. A sentence a module.

/// The tree keeps the house rules.
mod tidy;
