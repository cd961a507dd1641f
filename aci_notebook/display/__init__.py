"""What a person sees of a run: `html` (escape by construction), `render` (record → text and HTML, pure), `stream` (which lines of the
output go under the cell), `live` (the views that a cell and a background run drive). Importing any of them is cheap."""
