//! fairlead-snapshot
