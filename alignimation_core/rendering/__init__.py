"""Canvas, frames and renderers: from transforms to outputs."""
