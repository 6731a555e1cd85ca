"""Housing complaints of New York's 311 hotline, read into the ledger through the same rules as everybody's."""
