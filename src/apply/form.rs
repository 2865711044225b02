//! How a tensor of any rank is divided into rows, groups or heads, and the shapes of the operation's arguments.
//!
//! Files have tensors of any rank. Their elements are dense and row-major, so that axes in front can be merged and axes
//! of extent 1 omitted without moving an element.

use super::argument::{Argument, ShapeError};
use super::input::{Tensor, TensorRef};

/// The rows of a tensor that share a set of weights and biases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Rows `(dim,)` of a tensor `(…, dim)`.
    Rows,
    /// The same, each divided into that many groups, which are normalized separately; the weights are those of a row.
    Groups(usize),
    /// Heads of a tensor `(…, heads, head_dim)`, each with its own weights or all with the same.
    Heads,
}

/// The shapes of a call: `x` is `units` units, each of shape `unit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shapes {
    pub units: usize,
    /// The trailing axes of `x` that weights and biases may span: `(dim,)`, `(groups, dim / groups)` or
    /// `(heads, head_dim)`.
    pub unit: Vec<usize>,
    pub w: Option<Vec<usize>>,
    pub b: Option<Vec<usize>>,
}

/// A tensor, and its name on the command line.
pub type Given<'a> = (&'a TensorRef, &'a Tensor);

impl Form {
    /// The shapes of a call on these tensors.
    pub fn shapes(
        self,
        x: Given<'_>,
        w: Option<Given<'_>>,
        b: Option<Given<'_>>,
    ) -> Result<Shapes, ShapeError> {
        let (units, unit) = self.cut(x)?;
        let parameter = |option, given: Option<Given<'_>>| {
            let fit = |(name, tensor): Given<'_>| {
                let fits = self.parameter(&unit, &tensor.shape);
                fits.ok_or_else(|| ShapeError::Shape {
                    argument: Argument::tensor(option, name),
                    expected: self.expected(&unit),
                    given: text(&tensor.shape),
                })
            };
            given.map(fit).transpose()
        };
        let (w, b) = (parameter("--weight", w)?, parameter("--bias", b)?);
        Ok(Shapes { units, unit, w, b })
    }

    /// The number of units of `x`, and the shape of one.
    fn cut(self, (name, x): Given<'_>) -> Result<(usize, Vec<usize>), ShapeError> {
        let axes = if self == Form::Heads { 2 } else { 1 };
        let argument = || Argument::tensor("--input", name);
        let Some(leading) = x.shape.len().checked_sub(axes) else {
            return Err(match &x.shape[..] {
                [] => ShapeError::Scalar { argument: argument() },
                shape => ShapeError::NoHeads { argument: argument(), given: text(shape) },
            });
        };
        let (leading, unit) = x.shape.split_at(leading);
        // No overflow: a tensor whose elements cannot be counted was refused when its file was read.
        let units = leading.iter().product();
        match (self, unit) {
            (Form::Groups(groups), &[dim]) if !dim.is_multiple_of(groups) => {
                Err(ShapeError::Groups { input: argument(), dim, groups })
            }
            (Form::Groups(groups), &[dim]) => Ok((units, vec![groups, dim / groups])),
            _ => Ok((units, unit.to_vec())),
        }
    }

    /// The shape in which the operation is given weights or biases of shape `given`, if they fit.
    fn parameter(self, unit: &[usize], given: &[usize]) -> Option<Vec<usize>> {
        let dim: usize = unit.iter().product();
        match self {
            Form::Rows | Form::Groups(_) => is_row(given, dim).then(|| unit.to_vec()),
            Form::Heads => [unit, &unit[1..]].into_iter().find(|fit| ends_in(given, fit)).map(<[_]>::to_vec),
        }
    }

    /// The shapes that weights and biases may have, in words.
    fn expected(self, unit: &[usize]) -> String {
        match self {
            Form::Rows | Form::Groups(_) => text(&[unit.iter().product()]),
            Form::Heads => format!("{}, or {} for all heads", text(unit), text(&unit[1..])),
        }
    }
}

/// Whether a tensor of this shape is one row of `dim` elements: `(dim,)`, `(1, dim)`, `(dim, 1)`.
fn is_row(shape: &[usize], dim: usize) -> bool {
    let longer = shape.iter().filter(|&&extent| extent != 1).count();
    !shape.is_empty() && longer <= 1 && shape.iter().product::<usize>() == dim
}

/// Whether a shape consists of any number of axes of extent 1, followed by `end`.
fn ends_in(shape: &[usize], end: &[usize]) -> bool {
    shape.strip_suffix(end).is_some_and(|front| front.iter().all(|&extent| extent == 1))
}

/// `(8, 4096)`, `(4096,)`, `()`.
pub fn text(shape: &[usize]) -> String {
    match shape {
        [one] => format!("({one},)"),
        _ => format!("({})", shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_of_one_element_may_stand_anywhere_in_a_row_and_in_front_of_heads() {
        for (form, unit, given, seen) in [
            (Form::Rows, &[5][..], &[5][..], Some(&[5][..])),
            (Form::Rows, &[5], &[1, 5], Some(&[5])),
            (Form::Rows, &[5], &[5, 1], Some(&[5])),
            (Form::Rows, &[5], &[1, 1, 1, 1, 5, 1], Some(&[5])),
            (Form::Rows, &[5], &[5, 5], None),
            (Form::Rows, &[5], &[1, 4], None),
            (Form::Rows, &[5], &[1], None),
            (Form::Rows, &[5], &[0], None),
            (Form::Rows, &[5], &[], None),
            (Form::Rows, &[1], &[1, 1], Some(&[1])),
            (Form::Rows, &[1], &[], None),
            (Form::Rows, &[0], &[1, 0], Some(&[0])),
            (Form::Rows, &[0], &[1], None),
            (Form::Groups(2), &[2, 3], &[1, 6], Some(&[2, 3])),
            (Form::Groups(2), &[2, 3], &[2, 3], None),
            (Form::Groups(2), &[2, 3], &[3], None),
            (Form::Heads, &[4, 3], &[4, 3], Some(&[4, 3])),
            (Form::Heads, &[4, 3], &[1, 1, 1, 4, 3], Some(&[4, 3])),
            (Form::Heads, &[4, 3], &[3], Some(&[3])),
            (Form::Heads, &[4, 3], &[1, 3], Some(&[3])),
            (Form::Heads, &[1, 3], &[1, 3], Some(&[1, 3])),
            (Form::Heads, &[4, 1], &[1], Some(&[1])),
            (Form::Heads, &[4, 1], &[4, 1], Some(&[4, 1])),
            (Form::Heads, &[4, 3], &[12], None),
            (Form::Heads, &[4, 3], &[4], None),
            (Form::Heads, &[4, 3], &[3, 1], None),
            (Form::Heads, &[4, 3], &[2, 4, 3], None),
            (Form::Heads, &[4, 3], &[], None),
        ] {
            let given_seen = form.parameter(unit, given);
            assert_eq!(given_seen.as_deref(), seen, "{form:?} over {unit:?}, given {given:?}");
        }
    }

    #[test]
    fn shapes_are_written_as_the_library_writes_them() {
        for shape in [&[5][..], &[2, 5], &[1, 2, 3, 4]] {
            assert_eq!(text(shape), norm_host::Shape::new(shape).unwrap().to_string());
        }
        assert_eq!((text(&[]), text(&[1; 5])), ("()".to_owned(), "(1, 1, 1, 1, 1)".to_owned()));
    }
}
