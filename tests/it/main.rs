//! Tests of the real binary, in a temporary root.

mod phone;
