//! fairlead-journal
