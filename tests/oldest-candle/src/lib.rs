//! Nothing: this package has tests alone.
