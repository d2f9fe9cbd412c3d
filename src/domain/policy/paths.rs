//! Reads paths of a host however they are spelled.
