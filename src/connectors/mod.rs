//! Connectors: a wing on the ground floors, a folder each.
