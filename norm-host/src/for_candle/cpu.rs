//! candle's storage on the host.

use candle_core::{CpuStorage, Error, Layout, Result, Storage, backend::BackendStorage, bail};
use half::{bf16, f16};

use super::{
    dense::{self, Results, Tensors},
    norm::Settings,
    store::{Lend, LendCodes, LendMut, Spot, Store, dense_range},
};
use crate::{Cpu, Element, Place, Positions, QuantFormat, QuantizedMut, View, ViewMut};

impl Store for CpuStorage {
    type Queue = Cpu;
    type On = Cpu;
    type Read<'a> = View<'a>;
    type Write<'a> = ViewMut<'a>;
    type Codes<'a> = QuantizedMut<'a>;

    #[inline]
    fn of(storage: &Storage) -> Option<&CpuStorage> {
        match storage {
            Storage::Cpu(storage) => Some(storage),
            _ => None,
        }
    }

    fn into_storage(self) -> Storage {
        Storage::Cpu(self)
    }

    fn queue(&self) -> Result<Cpu> {
        Ok(Cpu)
    }

    fn like(&self, elements: usize, op: &'static str) -> Result<CpuStorage> {
        match self {
            CpuStorage::F16(_) => Ok(CpuStorage::F16(filled(f16::ZERO, elements)?)),
            CpuStorage::BF16(_) => Ok(CpuStorage::BF16(filled(bf16::ZERO, elements)?)),
            CpuStorage::F32(_) => Ok(CpuStorage::F32(filled(0.0, elements)?)),
            other => Err(Error::UnsupportedDTypeForOp(other.dtype(), op).bt()),
        }
    }

    fn bytes(&self, elements: usize) -> Result<CpuStorage> {
        Ok(CpuStorage::U8(filled(0, elements)?))
    }

    fn singles(&self, elements: usize) -> Result<CpuStorage> {
        Ok(CpuStorage::F32(filled(0.0, elements)?))
    }

    fn write_codes<'a>(
        &'a mut self,
        _: &'a Cpu,
        format: QuantFormat,
        at: &Spot<'_>,
    ) -> Result<QuantizedMut<'a>> {
        match self {
            CpuStorage::U8(bytes) => {
                let address = bytes.as_mut_ptr().expose_provenance() as u64;
                at.codes(Place::Host, address, format, bytes.len())
            }
            other => Err(at.unsupported(other.dtype())),
        }
    }

    #[inline]
    fn read<'a>(&'a self, _: &'a Cpu, at: &Spot<'_>) -> Result<View<'a>> {
        #[inline]
        fn view<'a, E: Element>(elements: &'a [E], at: &Spot<'_>) -> Result<View<'a>> {
            let from = elements.get(at.offset..).unwrap_or_default();
            let address = from.as_ptr().expose_provenance() as u64;
            at.raw(Place::Host, address, E::DTYPE, from.len()).map(View::from_raw)
        }
        match self {
            CpuStorage::F16(elements) => view(elements, at),
            CpuStorage::BF16(elements) => view(elements, at),
            CpuStorage::F32(elements) => view(elements, at),
            other => Err(at.unsupported(other.dtype())),
        }
    }

    #[inline]
    fn write<'a>(&'a mut self, _: &'a Cpu, at: &Spot<'_>) -> Result<ViewMut<'a>> {
        #[inline]
        fn view<'a, E: Element>(elements: &'a mut [E], at: &Spot<'_>) -> Result<ViewMut<'a>> {
            let from = elements.get_mut(at.offset..).unwrap_or_default();
            let address = from.as_mut_ptr().expose_provenance() as u64;
            at.raw(Place::Host, address, E::DTYPE, from.len()).map(ViewMut::from_raw)
        }
        match self {
            CpuStorage::F16(elements) => view(elements, at),
            CpuStorage::BF16(elements) => view(elements, at),
            CpuStorage::F32(elements) => view(elements, at),
            other => Err(at.unsupported(other.dtype())),
        }
    }

    fn with_positions<R>(
        &self,
        _: &Cpu,
        layout: &Layout,
        op: &'static str,
        f: impl FnOnce(Positions<'_>) -> Result<R>,
    ) -> Result<R> {
        let range = dense_range(layout, op)?;
        match self {
            CpuStorage::U32(positions) => f(Positions::from_slice(positions.get(range).unwrap_or_default())),
            CpuStorage::I64(positions) => f(Positions::from_slice(positions.get(range).unwrap_or_default())),
            other => Err(Error::UnsupportedDTypeForOp(other.dtype(), op).bt()),
        }
    }

    fn without_views(norm: Settings, tensors: &Tensors<'_, CpuStorage>) -> Option<Results<CpuStorage>> {
        dense::on_host(norm, tensors)
    }
}

/// A vector of so many zeros. A tensor may repeat one element more often than a vector can hold any, where `vec!` panics.
///
/// # Errors
///
/// For more bytes than an allocation can have.
fn filled<E: Clone>(zero: E, elements: usize) -> Result<Vec<E>> {
    if elements > isize::MAX as usize / size_of::<E>() {
        bail!("expected a result of fewer than 2^63 bytes, given {elements} elements");
    }
    Ok(vec![zero; elements])
}

impl AsRef<Cpu> for Cpu {
    fn as_ref(&self) -> &Cpu {
        self
    }
}

impl Lend for View<'_> {
    fn lend(&self) -> View<'_> {
        *self
    }
}

impl LendMut for ViewMut<'_> {
    fn lend_mut(&mut self) -> ViewMut<'_> {
        self.reborrow()
    }
}

impl LendCodes for QuantizedMut<'_> {
    fn lend_codes(&mut self) -> QuantizedMut<'_> {
        self.reborrow()
    }
}
