//! Reads what a child says without believing how large it becomes: three bytes on the pipe may be an
//! event of hundreds in memory. Every element of a list, bytes apart, is weighed by its size as the
//! host holds it, and what is too heavy ends the reading. It wraps any format, and knows no message.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// What may still be taken.
#[derive(Debug)]
pub(super) struct Scale(Cell<u64>);

impl Scale {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self(Cell::new(bytes_max))
    }

    fn take<T, E: Error>(&self, elements: u64) -> Result<(), E> {
        let bytes = elements.saturating_mul(size_of::<T>() as u64);
        let left = self.0.get().checked_sub(bytes);
        self.0.set(left.ok_or_else(|| E::custom("its lists are larger than they may be"))?);
        Ok(())
    }
}

/// Anything of the format's, under a scale.
pub(super) struct Weighed<'s, T> {
    inner: T,
    scale: &'s Scale,
    /// Whether what is visited is a list, whose elements no type counts.
    is_list: bool,
}

impl<'s, T> Weighed<'s, T> {
    pub(super) fn new(inner: T, scale: &'s Scale) -> Self {
        Self { inner, scale, is_list: false }
    }

    fn list(inner: T, scale: &'s Scale) -> Self {
        Self { inner, scale, is_list: true }
    }
}

/// Methods that hand a visitor on, with whatever else they are given.
macro_rules! handed_on {
    ($($method:ident($($name:ident: $kind:ty),*) $how:ident;)*) => {$(
        fn $method<V: Visitor<'de>>(
            self,
            $($name: $kind,)*
            visitor: V,
        ) -> Result<V::Value, Self::Error> {
            self.inner.$method($($name,)* Weighed::$how(visitor, self.scale))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Weighed<'_, D> {
    type Error = D::Error;

    handed_on! {
        deserialize_any() list;
        deserialize_bool() new;
        deserialize_i8() new;
        deserialize_i16() new;
        deserialize_i32() new;
        deserialize_i64() new;
        deserialize_i128() new;
        deserialize_u8() new;
        deserialize_u16() new;
        deserialize_u32() new;
        deserialize_u64() new;
        deserialize_u128() new;
        deserialize_f32() new;
        deserialize_f64() new;
        deserialize_char() new;
        deserialize_str() new;
        deserialize_string() new;
        deserialize_bytes() new;
        deserialize_byte_buf() new;
        deserialize_option() new;
        deserialize_unit() new;
        deserialize_unit_struct(name: &'static str) new;
        deserialize_newtype_struct(name: &'static str) new;
        deserialize_seq() list;
        deserialize_tuple(length: usize) new;
        deserialize_tuple_struct(name: &'static str, length: usize) new;
        deserialize_map() list;
        deserialize_struct(name: &'static str, fields: &'static [&'static str]) new;
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) new;
        deserialize_identifier() new;
        deserialize_ignored_any() list;
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// Methods that hand a plain value on.
macro_rules! plain {
    ($($method:ident($kind:ty);)*) => {$(
        fn $method<E: Error>(self, value: $kind) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Weighed<'_, V> {
    type Value = V::Value;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(to)
    }

    plain! {
        visit_bool(bool);
        visit_i8(i8);
        visit_i16(i16);
        visit_i32(i32);
        visit_i64(i64);
        visit_i128(i128);
        visit_u8(u8);
        visit_u16(u16);
        visit_u32(u32);
        visit_u64(u64);
        visit_u128(u128);
        visit_f32(f32);
        visit_f64(f64);
        visit_char(char);
        visit_str(&str);
        visit_borrowed_str(&'de str);
        visit_string(String);
        visit_bytes(&[u8]);
        visit_borrowed_bytes(&'de [u8]);
        visit_byte_buf(Vec<u8>);
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, some: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(Weighed::new(some, self.scale))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, new: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(Weighed::new(new, self.scale))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        let seq = Weighed { inner: seq, scale: self.scale, is_list: self.is_list };
        self.inner.visit_seq(seq)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let map = Weighed { inner: map, scale: self.scale, is_list: self.is_list };
        self.inner.visit_map(map)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, of: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(Weighed::new(of, self.scale))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Weighed<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Weighed::new(from, self.scale))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Weighed<'_, A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, A::Error> {
        // Bytes are as long as they came, which is bounded already, and hold no list.
        if size_of::<T::Value>() <= 1 {
            return self.inner.next_element_seed(seed);
        }
        let element = self.inner.next_element_seed(Weighed::new(seed, self.scale))?;
        if self.is_list && element.is_some() {
            self.scale.take::<T::Value, A::Error>(1)?;
        }
        Ok(element)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Weighed<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let key = self.inner.next_key_seed(Weighed::new(seed, self.scale))?;
        if self.is_list && key.is_some() {
            self.scale.take::<K::Value, A::Error>(1)?;
        }
        Ok(key)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let value = self.inner.next_value_seed(Weighed::new(seed, self.scale))?;
        if self.is_list {
            self.scale.take::<S::Value, A::Error>(1)?;
        }
        Ok(value)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, 's, A: EnumAccess<'de>> EnumAccess<'de> for Weighed<'s, A> {
    type Error = A::Error;
    type Variant = Weighed<'s, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let (value, variant) = self.inner.variant_seed(Weighed::new(seed, self.scale))?;
        Ok((value, Weighed::new(variant, self.scale)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Weighed<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.newtype_variant_seed(Weighed::new(seed, self.scale))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.inner.tuple_variant(length, Weighed::new(visitor, self.scale))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.inner.struct_variant(fields, Weighed::new(visitor, self.scale))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Heavy {
        words: [u64; 8],
        list: Vec<u8>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Any {
        Nothing,
        New(Option<Vec<Heavy>>),
        Tuple(u8, String, Vec<(String, String)>),
        Named { map: BTreeMap<u32, u64>, truth: bool, whole: Box<i64> },
    }

    fn read(any: &Any, bytes_max: u64) -> Option<Any> {
        let bytes = postcard::to_allocvec(any).unwrap();
        let mut from = postcard::Deserializer::from_bytes(&bytes);
        Any::deserialize(Weighed::new(&mut from, &Scale::new(bytes_max))).ok()
    }

    #[test]
    fn what_is_light_enough_comes_out_as_it_went_in_and_one_byte_less_is_too_little() {
        let heavy = || Heavy { words: [u64::MAX; 8], list: vec![7; 10] };
        for (any, bytes) in [
            (Any::Nothing, 0),
            (Any::New(None), 0),
            (Any::New(Some(vec![heavy(), heavy()])), 2 * size_of::<Heavy>()),
            (
                Any::Tuple(1, "text".to_owned(), vec![Default::default(); 3]),
                3 * size_of::<(String, String)>(),
            ),
            (
                Any::Named {
                    map: (0..5).map(|n| (n, 9)).collect(),
                    truth: true,
                    whole: Box::new(-1),
                },
                5 * (size_of::<u32>() + size_of::<u64>()),
            ),
        ] {
            let bytes = bytes as u64;
            assert_eq!(read(&any, bytes).as_ref(), Some(&any));
            assert!(bytes == 0 || read(&any, bytes - 1).is_none(), "{any:?}");
        }
    }
}
