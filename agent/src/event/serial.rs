//! How the types that serde can't derive become bytes, and how bytes of any origin become them.

/// An outcome as its number.
pub mod outcome {
    use exoscope_abi::Outcome;
    use serde::de::{Deserializer, Error as _, Unexpected};
    use serde::{Deserialize as _, Serializer};

    pub fn serialize<S: Serializer>(outcome: &Outcome, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u8(*outcome as u8)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Outcome, D::Error> {
        let number = u8::deserialize(from)?;
        let unexpected = || {
            D::Error::invalid_value(Unexpected::Unsigned(number.into()), &"number of an outcome")
        };
        Outcome::from_number(number).ok_or_else(unexpected)
    }
}

/// A histogram as a list.
pub mod histogram {
    use exoscope_abi::totals::HISTOGRAM_BUCKETS;
    use serde::de::{Deserializer, Error as _};
    use serde::{Deserialize as _, Serialize as _, Serializer};

    type Histogram = [u64; HISTOGRAM_BUCKETS];

    pub fn serialize<S: Serializer>(histogram: &Histogram, to: S) -> Result<S::Ok, S::Error> {
        histogram.as_slice().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Histogram, D::Error> {
        let buckets = Vec::<u64>::deserialize(from)?;
        let len = buckets.len();
        let expected = "as many buckets as a histogram has";
        let wrong = |_| D::Error::invalid_length(len, &expected);
        buckets.try_into().map_err(wrong)
    }
}

/// Losses as a pair.
pub mod losses {
    use exoscope_abi::totals::SessionLosses;
    use serde::de::Deserializer;
    use serde::{Deserialize as _, Serialize as _, Serializer};

    pub fn serialize<S: Serializer>(
        losses: &Option<SessionLosses>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let pair = losses.map(|losses| (losses.links, losses.panics));
        pair.serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<SessionLosses>, D::Error> {
        let pair = Option::<(u64, u64)>::deserialize(from)?;
        Ok(pair.map(|(links, panics)| SessionLosses { links, panics }))
    }
}
