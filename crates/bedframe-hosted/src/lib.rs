//! A hosted machine for Bedframe: a whole physical address space as one sparse file mapping
