//! fairlead-formats
