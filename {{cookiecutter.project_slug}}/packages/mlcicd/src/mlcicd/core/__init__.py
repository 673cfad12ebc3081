"""What every room uses: errors for people, text that is safe to show, YAML, params, the user's package.

Belongs here: small modules that know nothing of tables, models or reports.
Does not: anything that imports pandas or scikit-learn.
"""
