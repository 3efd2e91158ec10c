//! fairlead-sim
