//! Throughput over dim, as an SVG.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use plotters::prelude::*;

use super::error::BenchError;
use super::record::{Figures, Measurement, Record};
use super::unit::Unit;

/// The size of the picture, in pixels.
const SIZE: (u32, u32) = (960, 600);
const FONT: &str = "sans-serif";
/// The beginning of the title, by which an older plot is recognized.
const TITLE: &str = "Throughput over dim: ";

/// Colours that colour-blind readers can distinguish (Okabe and Ito's).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// One line of the picture.
struct Series {
    name: String,
    /// log2 of dim, and throughput in the record's unit; by dim.
    points: Vec<(f64, f64)>,
}

/// A path whose name ends in `.svg`; a plot under another name would be misleading.
pub fn svg_path(path: PathBuf) -> Result<PathBuf, String> {
    match path.extension() {
        Some(extension) if extension.eq_ignore_ascii_case("svg") => Ok(path),
        _ => Err("plots are drawn as SVG: expected a file whose name ends in .svg".to_owned()),
    }
}

/// Checks, before anything is measured, that a plot can be written to `path` without a loss: there must be no file,
/// or an older plot, which is replaced.
///
/// # Errors
/// [`BenchError::Plot`] where there is no such folder, or a file that cannot be read; [`BenchError::NotAPlot`] where there
/// is something else.
pub fn claim(path: &Path) -> Result<(), BenchError> {
    let failed = |error| BenchError::Plot { path: path.to_owned(), source: error };
    let metadata = match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            return folder.map_or(Ok(()), |folder| std::fs::metadata(folder).map(drop).map_err(failed));
        }
        metadata => metadata.map_err(failed)?,
    };
    if metadata.is_file() {
        let mut start = Vec::new();
        let file = std::fs::File::open(path).map_err(failed)?;
        // The title is at the front.
        file.take(4096).read_to_end(&mut start).map_err(failed)?;
        let start = String::from_utf8_lossy(&start);
        if start.is_empty() || (start.starts_with("<svg ") && start.contains(TITLE)) {
            return Ok(());
        }
    }
    Err(BenchError::NotAPlot { path: path.to_owned() })
}

/// Draws the record to a file.
///
/// # Errors
/// [`BenchError::NothingToPlot`] without a line that has times; those of [`claim`]; [`BenchError::Plot`] where the file
/// cannot be written.
pub fn write(record: &Record, path: &Path) -> Result<(), BenchError> {
    let svg = svg(record)?;
    // Checked again, because measuring takes long.
    claim(path)?;
    std::fs::write(path, svg).map_err(|error| BenchError::Plot { path: path.to_owned(), source: error })
}

/// The picture's text.
fn svg(record: &Record) -> Result<String, BenchError> {
    let series = series(&record.lines, Unit::of(record));
    if series.is_empty() {
        return Err(BenchError::NothingToPlot);
    }
    let mut svg = String::new();
    draw(record, &series, &mut svg).map_err(|error| BenchError::Draw(error.to_string()))?;
    Ok(svg)
}

/// Dim, bytes and TB/s of a measurement.
type Point = (usize, u64, f64);

/// One series for each implementation, operation and types. Of several shapes with the same dim the largest is drawn,
/// because small ones show latency, not throughput.
fn series(lines: &[Measurement], unit: Unit) -> Vec<Series> {
    let several = lines.iter().any(|line| line.implementation != "norm");
    let mut found: Vec<(String, Vec<Point>)> = Vec::new();
    for line in lines {
        let Some(Figures { tb_s, .. }) = &line.figures else { continue };
        let throughput = tb_s * unit.of_tb_s;
        let by = if several { format!("{} ", line.implementation) } else { String::new() };
        let name = format!("{by}{} {}", line.op, line.types());
        let index = found.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            found.push((name, Vec::new()));
            found.len() - 1
        });
        let points = &mut found[index].1;
        match points.iter_mut().find(|(dim, ..)| *dim == line.dim()) {
            Some(point) if line.bytes > point.1 => *point = (line.dim(), line.bytes, throughput),
            Some(_) => {}
            None => points.push((line.dim(), line.bytes, throughput)),
        }
    }
    let sorted = found.into_iter().map(|(name, mut points)| {
        points.sort_by_key(|point| point.0);
        Series {
            name,
            points: points.iter().map(|&(dim, _, throughput)| ((dim as f64).log2(), throughput)).collect(),
        }
    });
    sorted.collect()
}

fn draw(
    record: &Record,
    series: &[Series],
    svg: &mut String,
) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let dims = || series.iter().flat_map(|series| series.points.iter().map(|point| point.0));
    let left = dims().fold(f64::INFINITY, f64::min).floor() - 0.25;
    let right = dims().fold(0.0, f64::max).ceil() + 0.25;
    let most = series.iter().flat_map(|series| series.points.iter().map(|point| point.1));
    let unit = Unit::of(record);
    let ceiling = record.memcpy.tb_s * unit.of_tb_s;
    let top = 1.1 * most.fold(ceiling, f64::max);

    let day = record.date.split('T').next().unwrap_or_default();
    let title = format!("{TITLE}{}, {}, {day}", record.device.name, record.program);
    let mut chart = ChartBuilder::on(&area)
        .caption(title, (FONT, 20))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(left..right, 0.0..top)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels((right - left) as usize + 1)
        .x_label_formatter(&|log2| dim_text(*log2))
        .y_label_formatter(&|throughput| format!("{throughput:.1}"))
        .x_desc("dim: elements of a row (log scale)")
        .y_desc(format!("{}: x (and a residual) read once, y (and a residual) written once", unit.name))
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 15))
        .draw()?;

    let mib = record.memcpy.bytes >> 20;
    let grey = RGBColor(90, 90, 90);
    chart
        .draw_series(DashedLineSeries::new([(left, ceiling), (right, ceiling)], 6, 4, grey.stroke_width(2)))?
        .label(format!("memcpy of {mib} MiB, {ceiling:.2} {}", unit.name))
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], grey.stroke_width(2)));
    for (index, Series { name, points }) in series.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?
            .label(name.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], colour.stroke_width(2)));
        chart.draw_series(points.iter().map(|&point| Circle::new(point, 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .legend_area_size(32)
        .margin(12)
        .background_style(WHITE.mix(0.85))
        .border_style(grey)
        .label_font((FONT, 15))
        .draw()?;
    area.present()
}

/// `4096`, and `64k` from 16k on; nothing between the powers of two.
fn dim_text(log2: f64) -> String {
    match log2.round() {
        whole if (whole - log2).abs() > 1e-6 => String::new(),
        whole if whole >= 20.0 => format!("{}M", (whole - 20.0).exp2()),
        whole if whole >= 14.0 => format!("{}k", (whole - 10.0).exp2()),
        whole => format!("{}", whole.exp2()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dims_read_as_people_write_them() {
        let texts: Vec<String> = [6.0, 12.0, 13.5, 14.0, 17.0, 20.0].map(dim_text).into();
        assert_eq!(texts, ["64", "4096", "", "16k", "128k", "1M"]);
    }
}
