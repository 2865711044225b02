//! Errors: each names the argument, what was expected and what was given. When one is returned, nothing has been written.

use norm_host::{Arg, Cpu, DType, Error, Norm, Place, Result, View, ViewMut};

fn main() -> Result<()> {
    let x = [1.0_f32; 8];
    let mut y = [0.0_f32; 8];
    let x_view = View::from_slice(&x, &[2, 4])?;

    println!("weights of another length:");
    let w = View::from_slice(&x, &[3])?;
    show(Norm::rms(1e-6).weight(w).rows(x_view, &mut ViewMut::from_slice(&mut y, &[2, 4])?, &Cpu));

    println!("a shape that the slice does not hold, of a view that is to be the weights:");
    show(View::from_slice(&x, &[3, 4]).map_err(|error| error.for_arg(Arg::W)));

    println!("rows whose elements lie apart:");
    let columns = View::from_slice_strided(&x, &[4, 2], &[1, 4])?;
    show(Norm::rms(1e-6).rows(columns, &mut ViewMut::from_slice(&mut y, &[4, 2])?, &Cpu));

    println!("memory of a GPU given to the CPU:");
    // SAFETY: the memory is never accessed, because the operation returns an error for the view's place.
    let elsewhere = unsafe { View::from_raw_parts(Place::Cuda(0), 0x1000, DType::F16, &[2, 4])? };
    show(Norm::rms(1e-6).rows(elsewhere, &mut ViewMut::from_slice(&mut y, &[2, 4])?, &Cpu));

    println!("an eps that is none:");
    show(Norm::rms(f32::NAN).rows(x_view, &mut ViewMut::from_slice(&mut y, &[2, 4])?, &Cpu));

    // An engine can match on the variant instead of reading the text.
    match View::from_slice(&x, &[9]) {
        Err(Error::OutOfBounds { arg: Arg::View, needed, available }) => {
            println!("{} elements are missing; y is still {y:?}", needed - available);
            Ok(())
        }
        other => other.map(drop),
    }
}

fn show<T>(result: Result<T>) {
    if let Err(error) = result {
        println!("  {error}");
    }
}
