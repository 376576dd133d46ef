// Draws every plot of the page. Text and grid take their colours from the style sheet, in light and in dark.
"use strict";
const plots = [...document.querySelectorAll("script[data-plot]")].map((data) => {
  const place = document.getElementById(data.dataset.plot);
  const { data: traces, layout } = JSON.parse(data.textContent);
  Plotly.newPlot(place, traces, layout, {
    responsive: true,
    displaylogo: false,
    // Plotly's own default offers to upload a chart to its makers' servers; nothing of a run leaves this page.
    showSendToCloud: false,
    plotlyServerURL: "",
    modeBarButtons: [["toImage"], ["zoom2d", "pan2d", "resetScale2d"]],
    toImageButtonOptions: { filename: data.dataset.plot, scale: 2 },
  });
  return place;
});
// A printed page is narrower than the window that it is printed from.
addEventListener("beforeprint", () => plots.forEach((place) => Plotly.relayout(place, { width: 660, autosize: false })));
addEventListener("afterprint", () => plots.forEach((place) => Plotly.relayout(place, { width: null, autosize: true })));
