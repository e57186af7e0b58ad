//! Pictures for the page.

use std::ops::Range;

use plotters::{
    backend::SVGBackend,
    chart::ChartBuilder,
    drawing::IntoDrawingArea,
    element::Circle,
    series::LineSeries,
    style::{Color, RGBColor, WHITE},
};

const SIZE: (u32, u32) = (720, 320);
const INK: RGBColor = RGBColor(0x1f, 0x6f, 0xb2);

/// A line through points, with axes that begin at 0.
pub(super) fn line(
    title: &str,
    (across, up): (&str, &str),
    points: &[(f64, f64)],
) -> anyhow::Result<String> {
    let range = |of: fn(&(f64, f64)) -> f64| -> Range<f64> {
        let most = points.iter().map(of).fold(0.0, f64::max);
        0.0..(most * 1.1).max(1.0)
    };
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(72)
            .build_cartesian_2d(range(|it| it.0), range(|it| it.1))?;
        chart.configure_mesh().x_desc(across).y_desc(up).draw()?;
        chart.draw_series(LineSeries::new(points.iter().copied(), INK.stroke_width(2)))?;
        chart.draw_series(
            points
                .iter()
                .map(|point| Circle::new(*point, 3, INK.filled())),
        )?;
        area.present()?;
    }
    Ok(text)
}
