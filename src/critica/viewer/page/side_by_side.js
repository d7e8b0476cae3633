// Every metric of all runs over one another.
curves(byId('charts'), data.charts.map(chart => ({ title: chart.title, says: chart.says,
  series: chart.runs.map((run, i) => ({ metric: chart.metric, label: data.names[i], unit: chart.unit, sentence: chart.says, values: run.values, steps: run.steps, color: `--run${i}` })).filter(s => s.steps.length) })));
