//! fairlead-ledger
