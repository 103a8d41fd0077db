"""The suites: each module has `tasks(data)`, the tasks of one suite in a fixed order.

A suite holds what is asked and how a reply is scored; it knows no model, no temperature and no policy. Data sets of
others are read from a folder that the user names and are never copied here.
"""
