//! The executable specification of Bedframe: a plain list-and-split buddy allocator, written to be read
