//! candle's storage on the host.

use candle_core::{CpuStorage, Error, Result, Storage, backend::BackendStorage};
use half::{bf16, f16};

use super::store::{Lend, LendMut, Spot, Store};
use crate::{Cpu, Element, View, ViewMut};

impl Store for CpuStorage {
    type Queue = Cpu;
    type On = Cpu;
    type Read<'a> = View<'a>;
    type Write<'a> = ViewMut<'a>;

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
            CpuStorage::F16(_) => Ok(CpuStorage::F16(vec![f16::ZERO; elements])),
            CpuStorage::BF16(_) => Ok(CpuStorage::BF16(vec![bf16::ZERO; elements])),
            CpuStorage::F32(_) => Ok(CpuStorage::F32(vec![0.0; elements])),
            other => Err(Error::UnsupportedDTypeForOp(other.dtype(), op).bt()),
        }
    }

    fn read<'a>(&'a self, _: &'a Cpu, at: &Spot) -> Result<View<'a>> {
        fn view<'a, E: Element>(elements: &'a [E], at: &Spot) -> Result<View<'a>> {
            let from = elements.get(at.offset..).unwrap_or_default();
            at.viewed(View::from_slice_strided(from, &at.shape, &at.strides))
        }
        match self {
            CpuStorage::F16(elements) => view(elements, at),
            CpuStorage::BF16(elements) => view(elements, at),
            CpuStorage::F32(elements) => view(elements, at),
            other => Err(at.unsupported(other.dtype())),
        }
    }

    fn write<'a>(&'a mut self, _: &'a Cpu, at: &Spot) -> Result<ViewMut<'a>> {
        fn view<'a, E: Element>(elements: &'a mut [E], at: &Spot) -> Result<ViewMut<'a>> {
            let from = elements.get_mut(at.offset..).unwrap_or_default();
            let view = ViewMut::from_slice(from, &at.shape);
            at.viewed(view.and_then(|view| view.with_strides(&at.strides)))
        }
        match self {
            CpuStorage::F16(elements) => view(elements, at),
            CpuStorage::BF16(elements) => view(elements, at),
            CpuStorage::F32(elements) => view(elements, at),
            other => Err(at.unsupported(other.dtype())),
        }
    }
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
