//! fairlead-gateway
