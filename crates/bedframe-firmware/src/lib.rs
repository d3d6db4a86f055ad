//! Firmware memory maps read into normalised machine descriptions: boot logs and device trees
