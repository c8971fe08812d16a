"""Items of jobs know since when an outage keeps them, and whether their audio is paid for."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("job_items", sa.Column("held_up_s", sa.Double()))
    op.add_column("job_items", sa.Column("is_paid", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.drop_column("job_items", "is_paid")
    op.drop_column("job_items", "held_up_s")
