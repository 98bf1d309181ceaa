"""From a Graph to a module: `pipeline` lists the stages, `runner` is their short form for code that runs at once.

    Graph --differentiate--> Joint --simplify--> Joint --partition--> Procedures --schedule--> Programs --emit--> bundle

It knows graphs, and nothing of who made them.
"""
