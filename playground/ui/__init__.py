"""The page: the only folder that imports Gradio and Plotly.

Rule: handlers are thin. What is shown is decided in `render`, `scales` and `wire`, which import neither torch nor
Gradio; the truth of a run lives on the server in `runs`; model text reaches the browser only as data and is put on the
page by `textContent`. JavaScript and CSS are files in static/.
"""
