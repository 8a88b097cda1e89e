//! Bytes reach the disk here.
