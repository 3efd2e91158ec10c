//! fairlead-http1
