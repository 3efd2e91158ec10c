//! fairlead-ir
